// The module's functions for following people.
#pragma once

#include "arguments.hpp"

namespace aisle {

extern PyMethodDef kPeopleMethods[];

}  // namespace aisle
