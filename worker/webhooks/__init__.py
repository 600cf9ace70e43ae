"""Webhook delivery: signing, and HTTP that reaches public addresses only."""
