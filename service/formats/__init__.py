"""What comes in and goes out: npy, NetCDF, Zarr, their layouts and grids, and the sandbox that reads them."""
