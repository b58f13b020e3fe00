"""What the pytest plugin does when a test is checked. The plugin's entry is `crosscheck.pytest_plugin`."""
