"""Start the engine process: ``python -m surgsam2.engine``. Applications run this, not people."""

from surgsam2.engine.server.main import main

if __name__ == "__main__":
    main()
