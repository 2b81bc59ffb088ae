"""What is asked of many runs: ablations, segmentation tables, leak audits."""
