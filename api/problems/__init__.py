"""Error responses (RFC 9457 problem details), the table of their codes, and the page that explains them."""
