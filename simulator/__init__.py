"""Boards, networks and upstream servers without hardware."""
