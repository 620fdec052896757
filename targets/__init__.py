"""Target and link profiles (TOML) and their loader."""
