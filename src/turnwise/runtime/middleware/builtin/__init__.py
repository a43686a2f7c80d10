"""The middleware that is built in, one in each file. Public as functions and classes of `turnwise.middleware`."""
