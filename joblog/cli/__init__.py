"""The command line. Its entry point, joblog.cli.main, is light; everything else is loaded when it is asked for."""
