"""Vertex AI custom jobs: descriptions and submission."""
