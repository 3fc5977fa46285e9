"""python -m simulator.demo"""

from simulator.cli import demo

if __name__ == "__main__":
    demo()
