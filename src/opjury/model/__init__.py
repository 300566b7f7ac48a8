"""What everything else speaks of: declarations and their registry, cases, records, outcomes. Declarations import no torch."""
