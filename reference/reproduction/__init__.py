"""The sources' tables and figures again, from our own runs: `marlspec reproduce`."""
