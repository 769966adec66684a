"""A Substrate chain: where its epochs end, what is stored at a block, and what that says."""
