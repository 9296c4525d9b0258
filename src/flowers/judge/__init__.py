"""How good a classifier is: numbers (report), drawings (figures), and the page of both (page)."""
