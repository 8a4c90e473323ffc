"""Who pays and who earned: bills, invoices, receipts."""
