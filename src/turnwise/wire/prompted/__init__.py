"""Tools spoken of in text, over any other codec."""
