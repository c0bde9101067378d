# cmake -DVERSION_FILE=FILE -P version_test.cmake: whom version 2.3.4 serves, which FILE has been filled
# with. Versions that the tree does not have yet.
cmake_minimum_required(VERSION 3.19)

# serves(YES_OR_NO WANTED): WANTED is what find_package would be asked for.
function(serves expected wanted)
  unset(PACKAGE_FIND_VERSION_RANGE)
  if(wanted MATCHES "^(.*)\\.\\.\\.(<?)(.*)$")
    set(PACKAGE_FIND_VERSION_RANGE "${wanted}")
    set(PACKAGE_FIND_VERSION_MIN "${CMAKE_MATCH_1}")
    set(PACKAGE_FIND_VERSION_MAX "${CMAKE_MATCH_3}")
    set(PACKAGE_FIND_VERSION_RANGE_MAX INCLUDE)
    if(CMAKE_MATCH_2 STREQUAL "<")
      set(PACKAGE_FIND_VERSION_RANGE_MAX EXCLUDE)
    endif()
    set(wanted "${CMAKE_MATCH_1}")
  endif()
  set(PACKAGE_FIND_VERSION "${wanted}")
  string(REGEX MATCH "^[0-9]+" PACKAGE_FIND_VERSION_MAJOR "${wanted}")
  include("${VERSION_FILE}")
  if(NOT PACKAGE_VERSION_COMPATIBLE STREQUAL expected)
    message(FATAL_ERROR "2.3.4 for who wants ${ARGV1}: ${PACKAGE_VERSION_COMPATIBLE}")
  endif()
endfunction()

foreach(wanted 2 2.0 2.3 2.3.4 2.0...<3 1.0...<3 1.9...2.3.4 2.3.4...<2.4)
  serves(TRUE ${wanted})
endforeach()
foreach(wanted 0.9 1 1.9.9 2.3.5 2.4 3 3.0...4 2.0...<2.3.4 2.0...2.3.3 2.3.5...<3)
  serves(FALSE ${wanted})
endforeach()

# Made for pointers of eight bytes.
set(CMAKE_SIZEOF_VOID_P 4)
include("${VERSION_FILE}")
if(NOT PACKAGE_VERSION_UNSUITABLE)
  message(FATAL_ERROR "taken for pointers of four bytes")
endif()
