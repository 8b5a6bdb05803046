"""The index: who and what there is, and where values lie; never a value itself.

Functions and methods take a connection whose transaction the caller has opened, so that the caller decides what is atomic.
"""
