(test) @fold
