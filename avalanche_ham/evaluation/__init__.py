"""What is measured: accuracies, forgetting, transfer, and HAM's models side by side."""
