"""The commands of osn-board, a module for each group of them."""
