"""The back ends that ship with semantic-entropy. They are found through entry points, like other plugins."""
