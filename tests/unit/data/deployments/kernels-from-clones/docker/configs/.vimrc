syntax on
