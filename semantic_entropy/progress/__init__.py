"""Progress bars, cancellation, and notices about long waits."""
