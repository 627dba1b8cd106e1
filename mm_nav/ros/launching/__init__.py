"""What the files in launch/ share. Only this package and they import `launch`."""
