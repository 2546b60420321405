"""Values: jobs, event ranges, outputs, results, errors. Whatever comes from outside becomes one of them here, or is refused."""
