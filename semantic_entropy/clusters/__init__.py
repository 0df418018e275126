"""From responses to clusters: answers, groups, judges, clusterers and conventions."""
