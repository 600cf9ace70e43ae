"""Errors as RFC 9457 problem details, and the page that explains them."""
