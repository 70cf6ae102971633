"""Pricing, the decision to charge or to review, receipts."""
