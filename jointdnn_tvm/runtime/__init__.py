"""What runs on the phone and next to the cloud module: numpy and the TVM runtime only."""
