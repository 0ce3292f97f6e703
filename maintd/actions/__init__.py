"""The changes that maintd can make, one file each; each carries its reason and says what came of it."""
