"""What a build leaves for others to check: provenance, SBOM, test results, signatures."""
