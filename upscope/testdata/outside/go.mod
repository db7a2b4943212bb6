// A program of somebody else that uses the package upscope.
module outside.example/program

go 1.26.0

require cobrowse-bridge v0.0.0

replace cobrowse-bridge => ../../..
