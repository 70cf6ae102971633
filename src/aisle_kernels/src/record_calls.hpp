// The module's functions that make records of serialised messages.
#pragma once

#include "arguments.hpp"

namespace aisle {

extern PyMethodDef kRecordMethods[];

}  // namespace aisle
