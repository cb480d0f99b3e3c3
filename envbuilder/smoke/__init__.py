"""The checks that run inside the image, and the verdict on what they found."""
