"""The protocol stated for people and tests: its page, its generated tables, its rules of ACK.

For development only: nothing that runs imports it, and it is not in the wheel.
"""
