"""What an encoder believes of latents, and what they are drawn from."""
