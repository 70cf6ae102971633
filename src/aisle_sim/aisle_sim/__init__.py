"""Re-enactment of labelled shopping sessions through sensor models."""
