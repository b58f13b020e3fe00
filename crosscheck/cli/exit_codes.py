"""What a command ends with: the same codes for all of them."""

AGREE, DISAGREE, USAGE, UNCHECKED = 0, 1, 2, 3
