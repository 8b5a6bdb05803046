"""What strongroom does: the rules, one file per noun, behind one dispatcher."""
