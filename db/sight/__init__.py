"""What is read for people: each reading takes what they may see, and gives no more."""
