# What `cmake --install` puts where, and the Debian packages that `cpack` makes of it:
#   holdfast        the CLI, its manual and completion
#   holdfastd       the daemon, its unit, settings and manual
#   holdfast-flink  the plugin jar; only where Maven has built it
include(GNUInstallDirs)

set(manual ${CMAKE_BINARY_DIR}/manual)
file(MAKE_DIRECTORY ${manual})

# hf_generated(NAME PROGRAM ARGUMENTS...): what a program tells about itself, as a file of the build.
function(hf_generated name program)
    add_custom_command(OUTPUT ${manual}/${name} COMMAND ${program} ${ARGN} > ${manual}/${name} DEPENDS ${program} VERBATIM)
    set_property(GLOBAL APPEND PROPERTY hf_generated ${manual}/${name})
endfunction()

hf_generated(holdfastd.yaml.5 holdfastd --config-manual)
hf_generated(holdfast.1 holdfast manual)
hf_generated(holdfast.bash holdfast completion bash)
get_property(generated GLOBAL PROPERTY hf_generated)
add_custom_target(manual ALL DEPENDS ${generated})

install(TARGETS holdfastd RUNTIME COMPONENT daemon)
install(FILES deploy/systemd/holdfastd.service DESTINATION lib/systemd/system COMPONENT daemon)
install(FILES deploy/holdfastd.yaml DESTINATION /etc/holdfast COMPONENT daemon)
install(FILES docs/man/holdfastd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT daemon)
install(FILES ${manual}/holdfastd.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT daemon)

install(TARGETS holdfast RUNTIME COMPONENT cli)
install(FILES ${manual}/holdfast.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT cli)
install(FILES ${manual}/holdfast.bash DESTINATION share/bash-completion/completions RENAME holdfast COMPONENT cli)

set(HF_PLUGIN_JAR ${CMAKE_SOURCE_DIR}/flink/target/holdfast-flink-${PROJECT_VERSION}.jar CACHE FILEPATH "The plugin, built by Maven")
if(EXISTS ${HF_PLUGIN_JAR})
    install(FILES ${HF_PLUGIN_JAR} DESTINATION share/java RENAME holdfast-flink.jar COMPONENT flink)
endif()

set(licence_text "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Holdfast

Files: *
Copyright: the Holdfast authors
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
")
file(WRITE ${manual}/copyright ${licence_text})
foreach(component daemon cli flink)
    if(NOT component STREQUAL flink OR EXISTS ${HF_PLUGIN_JAR})
        set(package_daemon holdfastd)
        set(package_cli holdfast)
        set(package_flink holdfast-flink)
        install(FILES ${manual}/copyright DESTINATION share/doc/${package_${component}} COMPONENT ${component})
        list(APPEND components ${component})
    endif()
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME holdfast)
set(CPACK_PACKAGE_VENDOR Holdfast)
set(CPACK_PACKAGE_CONTACT "the Holdfast authors <holdfast@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL ${components})
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_DAEMON_PACKAGE_NAME holdfastd)
set(CPACK_DEBIAN_DAEMON_PACKAGE_SECTION net)
set(CPACK_DEBIAN_DAEMON_PACKAGE_DEPENDS "adduser, init-system-helpers")
set(CPACK_DEBIAN_DAEMON_PACKAGE_RECOMMENDS "holdfast, ca-certificates")
set(CPACK_DEBIAN_DAEMON_PACKAGE_CONTROL_EXTRA
    "${CMAKE_SOURCE_DIR}/deploy/debian/postinst;${CMAKE_SOURCE_DIR}/deploy/debian/prerm;${CMAKE_SOURCE_DIR}/deploy/debian/postrm;${manual}/conffiles")
file(WRITE ${manual}/conffiles "/etc/holdfast/holdfastd.yaml\n")
set(CPACK_DEBIAN_CLI_PACKAGE_NAME holdfast)
set(CPACK_DEBIAN_CLI_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_FLINK_PACKAGE_NAME holdfast-flink)
set(CPACK_DEBIAN_FLINK_PACKAGE_SECTION java)
set(CPACK_DEBIAN_FLINK_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_FLINK_PACKAGE_SHLIBDEPS OFF)
set(CPACK_COMPONENT_DAEMON_DESCRIPTION "high availability and state storage for Apache Flink
 Elects the leading JobManager of Flink clusters, and keeps their job graphs and
 checkpoint pointers in a folder, S3, HDFS or OSS.")
set(CPACK_COMPONENT_CLI_DESCRIPTION "looks at and runs a Holdfast installation
 Clusters, jobs, checkpoints, garbage collection, failover drills.")
set(CPACK_COMPONENT_FLINK_DESCRIPTION "Flink plugin for Holdfast
 One jar for Flink 1.20 to 2.3: link /usr/share/java/holdfast-flink.jar into
 Flink's lib folder.")
include(CPack)
