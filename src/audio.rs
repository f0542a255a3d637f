//! Sound: from a file to the log-mel features that the models see. Knows nothing of graphs.
