"""What is needed to run a model on an emulated board: the counting plugin's source, and the script that it counts."""
