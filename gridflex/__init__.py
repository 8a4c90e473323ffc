"""GridFlex: a Ray cluster as a flexible load on the electricity grid."""
