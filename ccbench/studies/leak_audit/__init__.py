"""The leak audit: images that one set shares with another, or holds twice."""
