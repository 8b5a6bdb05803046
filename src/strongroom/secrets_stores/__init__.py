"""Where values live. A store knows locators and bytes; it knows nothing of names, scopes or users."""
