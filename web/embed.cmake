# Writes the files of the status page into a C file, so that the daemon needs none beside it.
# cmake -D OUT=FILE -D FOLDER=web -P embed.cmake
cmake_minimum_required(VERSION 3.25)
set(names index.html app.js style.css icon.svg)
set(types text/html text/javascript text/css image/svg+xml) # and UTF-8, all of them

set(arrays "")
set(table "")
foreach(name type IN ZIP_LISTS names types)
    file(READ ${FOLDER}/${name} bytes HEX)
    file(SHA256 ${FOLDER}/${name} digest)
    string(SUBSTRING ${digest} 0 32 tag)
    # 24 bytes a line.
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(REPEAT "0x..," 24 line)
    string(REGEX REPLACE "(${line})" "\\1\n    " bytes "${bytes}")
    string(MAKE_C_IDENTIFIER ${name} symbol)
    string(APPEND arrays "static const uint8_t ${symbol}[] = {\n    ${bytes}\n};\n\n")
    string(APPEND table "    {\"${name}\", \"${type}; charset=utf-8\", \"\\\"${tag}\\\"\", {${symbol}, sizeof ${symbol}}},\n")
endforeach()
file(WRITE ${OUT} "/* Made by web/embed.cmake from the files of web/. */\n#include \"rpc/web_files.h\"\n\n${arrays}"
    "const struct hf_web_file hf_web_files[] = {\n${table}    {NULL, NULL, NULL, {NULL, 0}},\n};\n")
