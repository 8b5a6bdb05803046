"""The web page: what people see of the server in a browser.

It speaks only operations: a page asks the API's `perform` for what a request would ask, as whoever is signed in. No rule lives here
or in a template. Everything is in this folder: Jinja2 templates, one stylesheet, one script, and htmx (static/htmx.min.js, version
2.0.11, Zero-Clause BSD licence, https://htmx.org).
"""
